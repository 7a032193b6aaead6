package wire

import "time"

// tcpSilence is TCP_USER_TIMEOUT.
const (
	tcpSilence     = 18
	tcpSilenceUnit = time.Millisecond
)
