"""What is asked of a forge (GitHub, Gitea, Forgejo, GitLab) about a repository that is followed."""
