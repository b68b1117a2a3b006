"""The one kind of error that is shown to a person as one line."""


class UserError(Exception):
  """Something the user can mend: the message names the file or field, its value and the rule, in one line.

  Commands print `error: MESSAGE` to standard error and exit with status 2; every other exception is a
  defect of this project and keeps its traceback.
  """
