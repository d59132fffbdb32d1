"""Write path of a run (sync, undo, purge): stage, plan, holds, apply."""
