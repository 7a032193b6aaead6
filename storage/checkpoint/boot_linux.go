package checkpoint

import (
	"os"
	"strings"
)

// bootID is drawn by the kernel at each boot.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}
