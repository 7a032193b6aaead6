package main

func Example() {
	main()
	// Output: blue <nil>
}
