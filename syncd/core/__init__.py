"""The pure part: values in, values out. Opens nothing, logs nothing, gets the time as an argument."""
