"""What every call is made of: requests and answers, problems, parameters, and what a handler is given."""
