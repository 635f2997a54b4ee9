"""Which cases are trained on, validated on and tested on."""
