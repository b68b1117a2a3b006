"""The error that is shown to the user as one line, and that of another program."""


class UserError(Exception):
  """A mistake that the user can mend.

  The message is one line with the file or field, its value, the rule, and what to do. Only several
  faults of videos take more lines, one each; the first line is complete without them. Commands
  print `error: MESSAGE` to standard error and exit with status 2, also where a disk cannot be used.
  Every other exception is a defect of this project and keeps its traceback.
  """


def last_message(output: str) -> str:
  """Return the last line of a program's output that is not empty; '' for none."""
  lines = [line.strip() for line in output.splitlines() if line.strip()]
  return lines[-1] if lines else ''
