"""The parts of every call of the API: requests and answers, problems, parameters, and the services for handlers."""
