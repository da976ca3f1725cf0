"""Networks that no kept package has: small modules whose parameters are named as in their official releases."""
