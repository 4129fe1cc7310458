"""Systems, apps and the policy that decides every request."""
