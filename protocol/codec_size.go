package protocol

import "fmt"

func tooLarge(what string, n, limit int) error {
	return ErrTooLarge.With(fmt.Sprintf("%s has %d bytes, the limit is %d", what, n, limit))
}
