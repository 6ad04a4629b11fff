/* SPDX-License-Identifier: MIT */
/*
 * The full screen of vane top, on ncurses.
 *
 * The loop sleeps in getch() until a key comes or the next look is due. A resize is a key to
 * ncurses. The terminal is left as it was found on every way out: errors are reported only after
 * endwin(), and ncurses itself does so for SIGINT and SIGTERM.
 */
#include <curses.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dom0-tools/top/top.h"

#define HEAD_LINES 4 /* machine, sums, a blank line or the prompt, headings */
#define PROMPT_LINE 2

/* The first report comes soon, whatever the delay between the others. */
#define FIRST_DELAY_MS 500u

/* A terminal that has hung up gives no key at once, again and again; a signal does so once. */
#define EARLY_MAX 100u

struct screen {
    struct top_settings settings;
    struct top_state state;
    size_t first;     /* row at the top of the list */
    bool help;        /* keys are explained instead of the list */
    bool asking;      /* a new delay is being typed */
    char answer[8];   /* what has been typed of it */
    uint64_t next_ms; /* when the next look is due */
};

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* --- drawing ----------------------------------------------------------------------------- */

/* Widths that fit what is usual; a wider cell pushes its line to the right. */
static const int widths[USAGE_COLUMN_COUNT] = {
    [USAGE_ID] = 5,      [USAGE_NAME] = 20,  [USAGE_VCPUS] = 5,  [USAGE_USED] = 6,
    [USAGE_SYSTEM] = 6,  [USAGE_READY] = 6,  [USAGE_WAIT] = 6,   [USAGE_DEMAND] = 7,
    [USAGE_MEMORY] = 8,  [USAGE_NET_RX] = 8, [USAGE_NET_TX] = 8, [USAGE_DISK_RD] = 8,
    [USAGE_DISK_WR] = 8,
};

/* Puts a cell at the cursor's line; what does not fit on the line is cut. */
static int put_cell(int line, int at, enum usage_column column, const char *text)
{
    char cell[USAGE_CELL_BYTES + 32];
    int room = COLS - at;

    snprintf(cell, sizeof(cell), usage_headings[column][0] == '>' ? "%*s " : "%-*s ",
             widths[column], text);
    if (room > 0) {
        mvaddnstr(line, at, cell, room);
    }
    return at + (int)strlen(cell);
}

static void put_headings(const struct screen *screen, int line)
{
    int at = 0;

    attron(A_REVERSE);
    mvhline(line, 0, ' ', COLS);
    for (enum usage_column column = 0; column < USAGE_COLUMN_COUNT; column++) {
        const char *text = usage_headings[column] + (usage_headings[column][0] == '>' ? 1 : 0);

        if (column == screen->settings.order) {
            attron(A_BOLD | A_UNDERLINE);
        }
        at = put_cell(line, at, column, text);
        attroff(A_BOLD | A_UNDERLINE);
    }
    attroff(A_REVERSE);
}

static void put_help(int line)
{
    static const char *const lines[] = {
        "q          end",
        "s, S       sort by the next column, by the one before",
        "r          turn the order round",
        "v          show or hide vCPUs",
        "d          ask for the delay between two looks, in seconds",
        "up, down   move through the list",
        "blank      look at once",
        "h, ?       this text, or the list again",
        "",
        "USED: the guest ran   SYS: the hypervisor ran for it   READY: it waited for a processor",
        "WAIT: it waited for an event   DEMAND: what it would use without having to wait",
    };

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        mvaddnstr(line + (int)i, 0, lines[i], COLS);
    }
}

static void put_list(const struct screen *screen, int line)
{
    const struct usage_report *report = &screen->state.report;
    char text[USAGE_CELL_BYTES];

    for (size_t i = screen->first; i < report->row_count && line < LINES; i++) {
        const struct usage_row *row = &report->rows[i];
        int at = 0;

        for (enum usage_column column = 0; column < USAGE_COLUMN_COUNT; column++) {
            usage_cell(report, row, column, text);
            at = put_cell(line, at, column, text);
        }
        line++;
        for (size_t v = 0; screen->settings.vcpus && v < row->vcpu_count && line < LINES; v++) {
            at = 0;
            for (enum usage_column column = 0; column < USAGE_COLUMN_COUNT; column++) {
                usage_vcpu_cell(report, &report->vcpus[row->first_vcpu + v], column, text);
                at = put_cell(line, at, column, text);
            }
            line++;
        }
    }
}

static void draw(const struct screen *screen)
{
    char first[160];
    char second[160];

    erase();
    usage_host_lines(&screen->state.report, first, second);
    mvaddnstr(0, 0, first, COLS);
    mvaddnstr(1, 0, second, COLS);
    put_headings(screen, HEAD_LINES - 1);
    if (screen->help) {
        put_help(HEAD_LINES);
    } else {
        put_list(screen, HEAD_LINES);
    }
    if (screen->asking) {
        mvprintw(PROMPT_LINE, 0, "seconds between two looks: %s", screen->answer);
    } else {
        move(PROMPT_LINE, 0);
    }
    refresh();
}

/* --- keys -------------------------------------------------------------------------------- */

static void sort_again(struct screen *screen)
{
    usage_sort(&screen->state.report, screen->settings.order, screen->settings.reverse);
}

/* A key while a delay is typed: digits, erase, return; anything else gives up. */
static void answer_key(struct screen *screen, int key)
{
    size_t bytes = strlen(screen->answer);

    if (key >= '0' && key <= '9' && bytes + 1 < sizeof(screen->answer)) {
        screen->answer[bytes] = (char)key;
        screen->answer[bytes + 1] = '\0';
        return;
    }
    if ((key == KEY_BACKSPACE || key == 0x7f || key == '\b') && bytes > 0) {
        screen->answer[bytes - 1] = '\0';
        return;
    }
    screen->asking = false;
    if (key == '\n' || key == '\r' || key == KEY_ENTER) {
        unsigned long seconds = strtoul(screen->answer, NULL, 10);

        if (seconds >= 1 && seconds <= 3600) {
            screen->settings.delay_ms = (unsigned int)seconds * 1000;
            screen->next_ms = now_ms() + screen->settings.delay_ms;
        }
    }
}

/* Returns: whether to go on. */
static bool take_key(struct screen *screen, int key)
{
    struct top_settings *settings = &screen->settings;

    if (screen->asking && key != KEY_RESIZE && key != ERR) {
        answer_key(screen, key);
        return true;
    }
    switch (key) {
    case 'q':
    case 'Q':
        return false;
    case 's':
        settings->order = (settings->order + 1) % USAGE_COLUMN_COUNT;
        sort_again(screen);
        break;
    case 'S':
        settings->order = (settings->order + USAGE_COLUMN_COUNT - 1) % USAGE_COLUMN_COUNT;
        sort_again(screen);
        break;
    case 'r':
        settings->reverse = !settings->reverse;
        sort_again(screen);
        break;
    case 'v':
        settings->vcpus = !settings->vcpus;
        break;
    case 'd':
        screen->asking = true;
        screen->answer[0] = '\0';
        break;
    case 'h':
    case '?':
        screen->help = !screen->help;
        break;
    case KEY_DOWN:
        screen->first += screen->first + 1 < screen->state.report.row_count;
        break;
    case KEY_UP:
        screen->first -= screen->first > 0;
        break;
    case ' ':
        screen->next_ms = now_ms();
        break;
    default:
        break;
    }
    return true;
}

/* --- the loop ---------------------------------------------------------------------------- */

/* Takes keys until the next look is due. Returns: whether to go on. */
static bool until_due(struct screen *screen)
{
    unsigned int early = 0;

    for (;;) {
        uint64_t now = now_ms();

        draw(screen);
        if (now >= screen->next_ms) {
            return true;
        }
        timeout((int)(screen->next_ms - now));

        int key = getch();

        early = key == ERR && now_ms() < screen->next_ms ? early + 1 : 0;
        if (early > EARLY_MAX || !take_key(screen, key)) {
            return false;
        }
    }
}

static int show(struct screen *screen, const struct top_source *source, struct err *err)
{
    struct top_settings soon = screen->settings;
    unsigned long shown = 0;

    soon.delay_ms = soon.delay_ms < FIRST_DELAY_MS ? soon.delay_ms : FIRST_DELAY_MS;
    for (;;) {
        const struct top_settings *settings = shown == 0 ? &soon : &screen->settings;
        int rc = top_next(&screen->state, source, settings, err);

        if (rc != 0) {
            return rc;
        }
        if (screen->first >= screen->state.report.row_count) {
            screen->first = 0;
        }
        shown++;
        screen->next_ms = now_ms() + screen->settings.delay_ms;
        if (!until_due(screen) ||
            (screen->settings.count != 0 && shown >= screen->settings.count)) {
            return 0;
        }
    }
}

int top_screen(const struct top_source *source, const struct top_settings *settings,
               struct err *err)
{
    struct screen screen = {.settings = *settings};
    SCREEN *terminal = newterm(NULL, stdout, stdin);
    int rc;

    if (terminal == NULL) {
        const char *name = getenv("TERM");

        return err_set(err, ENOTTY, "nothing is known about the terminal '%s' (try: --batch)",
                       name != NULL ? name : "");
    }
    set_term(terminal);
    cbreak();
    noecho();
    keypad(stdscr, TRUE);
    curs_set(0);
    rc = show(&screen, source, err);
    top_end(&screen.state);
    endwin();
    delscreen(terminal);
    return rc;
}
