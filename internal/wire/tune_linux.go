package wire

import "time"

// tcpNotSentLowat is TCP_NOTSENT_LOWAT; tcpSilent is TCP_USER_TIMEOUT, whose
// unit is tcpSilentUnit.
const (
	tcpNotSentLowat = 25
	tcpSilent       = 18
	tcpSilentUnit   = time.Millisecond
)
