"""What a user asks of a data set: is it whole, what is in it, how is it prepared."""
