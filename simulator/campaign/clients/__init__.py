"""The actions of clients and operators in a run."""
