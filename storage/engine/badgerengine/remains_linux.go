package badgerengine

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// giveBack gives back the files below a folder that are still mapped, although the
// store in it is open no more. What was mapped stays readable, and empty: nothing
// else can be mapped there, which somebody might take for the file.
func giveBack(folder string) error {
	folder, err := filepath.Abs(folder)
	if err == nil {
		folder, err = filepath.EvalSymlinks(folder) // the kernel knows no other name
	}
	if err != nil {
		return err
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return err
	}
	defer maps.Close()
	var found [][2]uintptr
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		if _, path, ok := strings.Cut(lines.Text(), " "+folder+"/"); !ok || path == "" {
			continue
		}
		var from, to uintptr
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x ", &from, &to); err == nil {
			found = append(found, [2]uintptr{from, to})
		}
	}
	for _, m := range found {
		_, _, errno := unix.Syscall6(unix.SYS_MMAP, m[0], m[1]-m[0], unix.PROT_READ|unix.PROT_WRITE,
			unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED|unix.MAP_NORESERVE, ^uintptr(0), 0)
		if errno != 0 {
			return fmt.Errorf("giving back a mapped file below %s: %w", folder, errno)
		}
	}
	return nil
}
