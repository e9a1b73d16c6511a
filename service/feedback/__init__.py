"""What people say of answers: labels, and recordings where the operator keeps them.

SQLAlchemy is imported by ``tables`` and what builds on it, and those only when they are used: a
service pays for the database when it first needs it.
"""
