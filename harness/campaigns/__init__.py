"""Many runs fixed before the first: plan, ledger, bundle, and the evidence they come to."""
