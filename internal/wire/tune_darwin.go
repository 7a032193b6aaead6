package wire

import "time"

// tcpNotSentLowat is TCP_NOTSENT_LOWAT; tcpSilent is TCP_RXT_CONNDROPTIME, whose
// unit is tcpSilentUnit.
const (
	tcpNotSentLowat = 0x201
	tcpSilent       = 0x80
	tcpSilentUnit   = time.Second
)
