"""Arrays in, frozen dataclasses out: all the thinking that a figure needs, and none of the drawing."""
