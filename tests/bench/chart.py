# SPDX-License-Identifier: MIT
"""A bar chart of results.json as SVG: our share of Xen's extra, a bar a row."""
from xml.sax.saxutils import escape

LEFT, WIDTH, ROW = 380, 420, 18


def write(path, results):
    rows = [r for r in results if r["share"] is not None]
    height = 50 + ROW * len(rows)
    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" '
           'font-family="sans-serif" font-size="12">' % (LEFT + WIDTH + 80, height),
           '<text x="10" y="20" font-size="14">Paravane&#8217;s extra instructions as a share of '
           'Xen 4.17&#8217;s (line: equal)</text>']
    for index, row in enumerate(rows):
        y = 36 + ROW * index
        length = max(0, min(row["share"], 1.2)) / 1.2 * WIDTH
        out.append('<text x="%d" y="%d" text-anchor="end">%s</text>'
                   % (LEFT - 8, y + 12, escape("%s: %s" % (row["part"], row["name"]))))
        out.append('<rect x="%d" y="%d" width="%.1f" height="%d" fill="#27708b"/>'
                   % (LEFT, y, length, ROW - 4))
        out.append('<text x="%.1f" y="%d">%.2f</text>' % (LEFT + length + 5, y + 12, row["share"]))
    equal = LEFT + WIDTH / 1.2
    out.append('<line x1="%.1f" y1="30" x2="%.1f" y2="%d" stroke="#999"/>'
               % (equal, equal, height - 10))
    out.append("</svg>")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(out) + "\n")
