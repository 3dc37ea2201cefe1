"""What the watch of the decay says of losses that answer to nothing."""

# Most curves of the tests were made beforehand: they rise after the minimum, whatever the LR.
WATCH = "ignore:AutoWU. (at step [0-9]+( of [0-9]+)? the loss|after the weights had gone back)"
