package wire

// tcpNotSentLowat is TCP_NOTSENT_LOWAT.
const tcpNotSentLowat = 25
