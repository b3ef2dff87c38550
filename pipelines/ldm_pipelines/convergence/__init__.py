"""How schedulers converge to a fine solution, from one start: `measuring.converge`."""
