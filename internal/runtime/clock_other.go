//go:build !linux

package runtime

import "time"

// origin is when this process began to count.
var origin = time.Now()

// bootTime falls back to Go's monotonic clock, which may stand still while the
// machine is suspended; the wall clock then makes up for it.
func bootTime() time.Duration { return time.Since(origin) }
