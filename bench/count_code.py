"""Lines of code per wing, without docstrings, comments and blank lines; what is longer than it should be.

python -m bench.count_code skinsyn
"""

import ast
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path

LINE, FILE, FUNCTION = 120, 300, 50  # characters, lines, lines
LAYOUT = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT,
    tokenize.DEDENT, tokenize.ENDMARKER, tokenize.ENCODING,
}  # fmt: skip
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def docstring(node: ast.AST) -> ast.Expr | None:
    """The statement that is a module's, class's or function's docstring, if it has one."""
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or not node.body:
        return None
    first = node.body[0]
    is_text = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    return first if is_text else None


def code_lines(text: str) -> set[int]:
    """The numbers of the lines that hold code, from 1.

    >>> sorted(code_lines('"Docstring."\\n\\nx = 1  # why\\n# a comment\\n'))
    [3]
    """
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in LAYOUT:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        statement = docstring(node)
        if statement is not None:
            lines -= set(range(statement.lineno, (statement.end_lineno or statement.lineno) + 1))
    return lines


def too_long(path: Path, text: str) -> list[str]:
    """What of a file is longer than LINE characters, FILE lines or FUNCTION lines of code, one sentence each."""
    lines, code = text.splitlines(), code_lines(text)
    said = [f"{path}:{n}: a line of {len(line)} characters" for n, line in enumerate(lines, 1) if len(line) > LINE]
    if len(lines) > FILE:
        said.append(f"{path}: a file of {len(lines)} lines")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, FUNCTIONS):
            length = len(code & set(range(node.lineno, (node.end_lineno or node.lineno) + 1)))
            if length > FUNCTION:
                said.append(f"{path}:{node.lineno}: {node.name} is a function of {length} lines of code")
    return said


def main(folders: list[str]) -> int:
    """Print the counts of each folder; 1 where something is too long."""
    long: list[str] = []
    for folder in folders:
        wings: Counter[str] = Counter()
        for path in sorted(Path(folder).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            wings[str(path.parent)] += len(code_lines(text))
            long += too_long(path, text)
        for wing, lines in wings.items():
            print(f"{lines:6} {wing}")
        print(f"{sum(wings.values()):6} lines of code in {folder}")
    print("\n".join(long) or "Nothing is too long.")
    return bool(long)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
