# SPDX-License-Identifier: MIT
# Prints hypervisor/base/cmdline.def as a table for people. A row is OPT(name, TYPE, default, doc).
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
    match(row, /^[^,]*, *[^,]*, */);
    split(substr(row, 1, RLENGTH), field, /, */);
    row = substr(row, RLENGTH + 1);
    match(row, /^("[^"]*"|[^,]*), */);
    fallback = substr(row, 1, RLENGTH);
    doc = substr(row, RLENGTH + 1);
    sub(/, *$/, "", fallback);
    gsub(/"/, "", fallback);
    gsub(/^"|"$/, "", doc);
    printf "%-16s %-6s %-10s %s\n", field[1], tolower(field[2]), fallback, doc;
}
