package checkpoint

import "golang.org/x/sys/unix"

// bootID is drawn by the kernel at each boot.
func bootID() string {
	id, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return "unknown"
	}
	return id
}
