"""A project with readers whose own tests use what the package ships for that; run in processes of their own."""
