"""One optimisation step: losses of several tasks to one update of the parameters, whatever the machine holds."""
