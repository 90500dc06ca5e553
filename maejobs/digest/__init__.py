"""What a person wants to know in the morning: did it run, is it safe, what must I do?"""
