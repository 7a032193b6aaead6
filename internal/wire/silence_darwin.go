package wire

import "time"

// tcpSilence is TCP_RXT_CONNDROPTIME.
const (
	tcpSilence     = 0x80
	tcpSilenceUnit = time.Second
)
