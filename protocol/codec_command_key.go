package protocol

// CommandKey reads the session and the sequence number from the beginning of an encoded
// command, without an allocation; false: there are none, or it is no command. What is done
// with a session has no sequence number (see Command.Validate).
func CommandKey(src []byte) (SessionID, uint64, bool) {
	r := reader{src: src}
	r.array(commandFields)
	session, sequence := SessionID(r.uint()), r.uint()
	return session, sequence, r.err == nil && session != 0 && sequence != 0
}
