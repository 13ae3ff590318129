"""What a person does at a browser before anything else."""

from playwright.sync_api import Page

from tests.service import Service


def sign_in(page: Page, service: Service, token: str) -> None:
    """By the form, as a person does."""
    page.goto("/signin")
    page.get_by_label("Token").fill(token)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{service.url}/")
