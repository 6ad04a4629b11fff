# SPDX-License-Identifier: MIT
# Turns `nm -n` of the hypervisor into the table that panic backtraces look names up in: offsets of
# the text symbols from the start of the image, sorted, each with the offset of its name. With empty
# input the table is empty. Reader: arch/x86_64/panic.c.
BEGIN {
    print ".section .symtab_text, \"a\"";
    print ".hidden symbol_count, symbol_table, symbol_names";
    print ".global symbol_count, symbol_table, symbol_names";
    print ".balign 8\nsymbol_table:";
}
$2 ~ /^[tT]$/ && $3 !~ /^\.L/ && $1 != last {
    last = $1;
    name[count++] = $3;
    printf "    .long 0x%s - 0xffff828000000000, %d\n", $1, bytes;
    bytes += length($3) + 1;
}
END {
    printf "symbol_count:\n    .quad %d\nsymbol_names:\n", count;
    for (i = 0; i < count; i++) {
        printf "    .asciz \"%s\"\n", name[i];
    }
    print ".section .note.GNU-stack,\"\",@progbits";
}
