package runtime

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootTime reads CLOCK_BOOTTIME: it runs while the machine is suspended and is
// never set. Every Linux that Go runs on has it.
func bootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("runtime: CLOCK_BOOTTIME: " + err.Error())
	}
	return time.Duration(ts.Nano())
}
