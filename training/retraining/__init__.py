"""New labels to a new version: plan, train on, compare with the champion, promote or keep."""
