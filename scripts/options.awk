# SPDX-License-Identifier: MIT
# Prints hypervisor/boot/cmdline.def as a table for people. A row is OPT(name, TYPE, default, "doc").
BEGIN {
    printf "%-16s %-6s %-10s %s\n", "option", "type", "default", "meaning";
}
/^OPT\(/ {
    row = $0;
    while (row !~ /\)[ ]*$/ && (getline more) > 0) {
        sub(/^ +/, " ", more);
        row = row more;
    }
    gsub(/" "/, "", row);
    sub(/^OPT\(/, "", row);
    sub(/\)[ ]*$/, "", row);
    n = split(row, field, /, */);
    doc = substr(row, index(row, field[4]));
    gsub(/^"|"$/, "", doc);
    gsub(/"/, "", field[3]);
    printf "%-16s %-6s %-10s %s\n", field[1], tolower(field[2]), field[3], doc;
}
