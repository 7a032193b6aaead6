//go:build !linux

package runtime

import "time"

// bootTime falls back to Go's monotonic clock, which may stand still while the
// machine is suspended. Ages and leases that are held go by the wall clock then; what
// was promised to others waits for as much longer as the machine slept.
func bootTime() time.Duration { return awake() }
