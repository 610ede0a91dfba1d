"""Tables column by column: sizes and shapes of values, and the rows that need no look at one by one."""
