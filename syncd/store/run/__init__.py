"""Write path of a run (sync, undo, purge): staging, plan, holds, apply."""
