# SPDX-License-Identifier: MIT
#
# For scripts that run the test kernels of tests/guests/: start one, see it end, read its verdict.
# The canary runs beside them; whoever finds it complaining, or frames missing, says so.
KERNELS=/boot/kernels
canary=

# devices NAME: what a front_ kernel is given to cheat the back end of.
devices()
{
    case $1 in
    front_blk)
        dd if=/dev/zero of="/tmp/$1.img" bs=1024 count=1024 2>/dev/null
        echo "<disk type='file' device='disk'><driver name='phy' type='raw'/>" \
            "<source file='/tmp/$1.img'/><target dev='xvda' bus='xen'/></disk>"
        ;;
    front_net)
        echo "<interface type='bridge'><mac address='00:16:3e:77:01:01'/>" \
            "<source bridge='$BRIDGE'/></interface>"
        ;;
    esac
}

# kernel_xml NAME ARGUMENTS [KERNEL]: /tmp/NAME.xml.
kernel_xml()
{
    cat >"/tmp/$1.xml" <<END
<domain type='xen'>
  <name>$1</name>
  <memory unit='MiB'>12</memory>
  <vcpu>2</vcpu>
  <os>
    <type arch='x86_64' machine='xenpv'>linux</type>
    <kernel>$KERNELS/${3:-$1}</kernel>
    <cmdline>canary=$canary $2</cmdline>
  </os>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>destroy</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>$(devices "$1")</devices>
</domain>
END
}

# transcript NAME: what a kernel has said, for the log of this run.
transcript()
{
    tr -d '\r' <"$LOGS/$1.log" | sed 's/^/PV:   | /'
}

# ended NAME LIMIT: waits until the domain has gone, which its monitor's last step is.
ended()
{
    ended_by=$(($(seconds_up) + $2))
    while exists "$1"; do
        if [ "$(seconds_up)" -ge "$ended_by" ]; then
            vane destroy "$1"
            echo "no end after $2 s; last: $(tail -n 1 "$LOGS/$1.log")"
            return 1
        fi
        usleep 50000
    done
}

# start_kernel NAME ARGUMENTS [KERNEL]. The domain's log exists before its first line.
start_kernel()
{
    rm -f "$LOGS/$1.log" "$LOGS/$1.monitor"
    kernel_xml "$@"
    vane create "/tmp/$1.xml"
}

last_line()
{
    tr -d '\r' <"$LOGS/$1.log" | grep '^guest: ' | tail -n 1
}

has_verdict()
{
    last_line "$1" | grep -q '^guest: verdict '
}

# judge_kernel NAME: 0 if its last verdict is the good one. A domain that said EXPECT-END must have
# been ended as a crash, and have said nothing after. What a kernel leaves in its ring without an
# event is taken out when the console daemon hears of its end, which may be after ours.
judge_kernel()
{
    LIMIT=30
    wait_for has_verdict "$1" >/dev/null
    LIMIT=300
    line=$(last_line "$1")
    case $line in
    "guest: verdict SUCCESS "*)
        return 0
        ;;
    "guest: verdict EXPECT-END "*)
        grep -q 'stopped (crash)' "$LOGS/$1.monitor" && return 0
        echo "FAILURE: the hypervisor did not end it: $(tail -n 2 "$LOGS/$1.monitor" | tr '\n' ' ')"
        ;;
    "guest: verdict "*)
        echo "${line#guest: verdict }"
        ;;
    *)
        echo "CRASH: no verdict; $(tail -n 1 "$LOGS/$1.monitor"); last: $line"
        ;;
    esac
    return 1
}

start_canary()
{
    start_kernel canary "" || return 1
    wait_for says canary "guest: ready" || return 1
    canary=$(id_of canary)
}

canary_complains()
{
    grep -q "^guest: complaint" "$LOGS/canary.log"
}

# calm: the canary has not complained.
calm()
{
    if canary_complains; then
        echo "canary: $(grep "^guest: complaint" "$LOGS/canary.log" | tail -n 1)"
        return 1
    fi
}

canary_answers()
{
    before=$(grep -c "guest: alive" "$LOGS/canary.log")
    type_in canary a
    wait_for said canary $((before + 1)) "guest: alive" && calm
}

stop_canary()
{
    type_in canary q
    ended canary 60 && judge_kernel canary
}

# frames_back: as many free frames as `frames_before`, soon.
frames_back()
{
    [ "$(free_memory)" -ge "$frames_before" ]
}

# run_kernel NAME LIMIT ARGUMENTS: from start to end.
run_kernel()
{
    frames_before=$(free_memory)
    start_kernel "$1" "$3" || return 1
    ended "$1" "$2" && judge_kernel "$1" || return 1
    calm || return 1
    LIMIT=30
    wait_for frames_back >/dev/null
    came_back=$?
    LIMIT=300
    [ $came_back = 0 ] || {
        echo "frames lost: $(free_memory) free, $frames_before before"
        return 1
    }
}
