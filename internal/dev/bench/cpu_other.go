//go:build !unix

package bench

import (
	"errors"
	"time"
)

// processTime is the processor time that this process has used.
func processTime() (time.Duration, error) {
	return 0, errors.New("the processor time of a process is measured on Unix only")
}
