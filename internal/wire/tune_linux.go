package wire

import "time"

const (
	// tcpNotSentLowat is TCP_NOTSENT_LOWAT.
	tcpNotSentLowat = 25
	// tcpSilence is TCP_USER_TIMEOUT, in units of tcpSilenceUnit.
	tcpSilence     = 18
	tcpSilenceUnit = time.Millisecond
)
