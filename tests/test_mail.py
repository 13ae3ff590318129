"""Mail by a server that speaks TLS, wants a password, is slow or says no: what each comes to."""

import ssl
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hermes.errors import SettingsError
from hermes.mail import MailServer, NoSuchMailbox, mail_server, send_mail
from hermes.outbox import Hopeless
from hermes.outward import Undelivered
from hermes.settings import Settings, load_settings, settings_in_force
from tests.mailbox import Mailbox, mailbox
from tests.service import free_port


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 127.0.0.1, and its key, in one file; signed by itself."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail of a test")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(names, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    made = builder.sign(key, hashes.SHA256())
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    path.write_bytes(key.private_bytes(pem, form, none) + made.public_bytes(pem))
    return path


def letter(receiver: str = "ada@example.org") -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "Lab <lab@gpu.example>", receiver, "words"
    mail.set_content(".a line that begins with a dot\nÜnïcode\n")
    return mail


def at(box: Mailbox, url: str = "smtp://127.0.0.1:{}") -> MailServer:
    found = mail_server(Settings(smtp_url=url.format(box.port), mail_from="Lab <lab@gpu.example>"))
    assert found is not None
    return found


async def test_it_arrives_as_it_was_written() -> None:
    with mailbox() as box:
        assert await send_mail(at(box), letter()) == 250
    receiver, mail = box.taken[0]
    assert receiver == "ada@example.org"
    assert mail.get_content().replace("\r\n", "\n") == ".a line that begins with a dot\nÜnïcode\n"


async def test_a_password_goes_over_tls_only(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "smtp://alice:p%40ss@127.0.0.1:{}"
    with mailbox() as box:
        box.password = "p@ss"
        with pytest.raises(Undelivered, match="no STARTTLS"):
            await send_mail(at(box, url), letter())
        assert "AUTH" not in box.said and box.taken == []
        box.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        box.tls.load_cert_chain(certificate)
        with pytest.raises(Undelivered, match="certificate verify failed"):
            await send_mail(at(box, url), letter())
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert await send_mail(at(box, url), letter()) == 250
        assert box.said.index("STARTTLS") < box.said.index("AUTH") and len(box.taken) == 1
        with pytest.raises(Undelivered, match="does not let us in: 535"):
            await send_mail(at(box, "smtp://alice:wrong@127.0.0.1:{}"), letter())


async def test_what_a_refusal_comes_to() -> None:
    with mailbox() as box:
        box.answers |= {"busy@example.org": "451 later", "none@example.org": "550 nobody\x1b[31m there"}
        with pytest.raises(Undelivered, match="451 later") as later:
            await send_mail(at(box), letter("busy@example.org"))
        assert not isinstance(later.value, Hopeless)
        with pytest.raises(NoSuchMailbox, match="550 nobody"):
            await send_mail(at(box), letter("none@example.org"))
        box.answers["data"] = "554 spam"
        with pytest.raises(Hopeless, match="554 spam") as spam:
            await send_mail(at(box), letter())
        assert not isinstance(spam.value, NoSuchMailbox)
        box.greeting = "554 go away"
        with pytest.raises(Undelivered, match="554 go away"):
            await send_mail(at(box), letter())
    away = MailServer("127.0.0.1", free_port(), False, "", "", "lab@gpu.example")
    with pytest.raises(Undelivered, match="refused"):
        await send_mail(away, letter())


def test_settings_of_mail() -> None:
    assert mail_server(Settings()) is None
    settings = load_settings(
        {"HERMES_SMTP_URL": "smtps://u:p%3Ass@mail.example.org", "HERMES_URL": "https://gpu.lab"}
    )
    server = MailServer("mail.example.org", 465, True, "u", "p:ss", "Hermes <hermes@gpu.lab>")
    assert mail_server(settings) == server
    shown = {each.variable: each.value for each in settings_in_force(settings)}
    assert "ss" not in shown["HERMES_SMTP_URL"].partition("@")[0].removeprefix("smtps")
    for wrong in ({"HERMES_SMTP_URL": "mail.example.org"}, {"HERMES_MAIL_FROM": "Lab"}):
        with pytest.raises(SettingsError):
            load_settings(wrong)
