package main

func Example() {
	main()
	// Output:
	// a1: hello, world (visit 1)
	// a2: hello, world (visit 2)
	// a3: hello, world (visit 3)
}
