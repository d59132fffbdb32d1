"""`python3 -m syncd.demo`: the demonstration from a fresh checkout, with nothing but Python installed."""

from syncd.demo.bootstrap import exec_command

if __name__ == "__main__":
    exec_command("demo")
