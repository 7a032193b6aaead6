package wire

import "time"

const (
	// tcpNotSentLowat is TCP_NOTSENT_LOWAT.
	tcpNotSentLowat = 0x201
	// tcpSilence is TCP_RXT_CONNDROPTIME, in units of tcpSilenceUnit.
	tcpSilence     = 0x80
	tcpSilenceUnit = time.Second
)
