"""The same on many machines, by an engine that is there already: docs/many-machines.md."""
