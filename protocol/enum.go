package protocol

import "fmt"

// EnumText returns the name of a value, of the names of an enumeration in the order of
// their numbers from 0, or what it is with its number where there is none: "suffrage(9)".
func EnumText[E ~uint8](value E, what string, names ...string) string {
	if int(value) < len(names) && names[value] != "" {
		return names[value]
	}
	return fmt.Sprintf("%s(%d)", what, uint8(value))
}
